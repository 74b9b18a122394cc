"""Pictures of known objects in, a camera and lights with covariance out."""
