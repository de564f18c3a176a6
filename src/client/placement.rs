//! Which nodes a pod may be on, as far as pod and node say it themselves: the scheduler asks before it binds, the DaemonSet
//! controller before it makes a pod.

pub mod affinity;
pub mod taints;
