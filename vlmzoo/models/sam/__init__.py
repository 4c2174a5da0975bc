"""SAM's published weights: under which names they are published, and how they fill a decoder of ours."""
