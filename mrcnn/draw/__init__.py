"""Pictures of images, detections and evaluations."""
