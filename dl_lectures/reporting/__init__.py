"""What was found, on disk and on paper: results, claims, figures. Knows files, no training."""
