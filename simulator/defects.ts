/** Planted defects. */
import type { SimulatedCluster } from './simulated-cluster.js';
export type Defect = (cluster: SimulatedCluster) => void;
