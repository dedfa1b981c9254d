"""Scripts for other programs: under `/api/v1/`, and at the older addresses of signed-in people."""
