"""What a person looks at: picture strips, training curves and the self-contained HTML report."""
