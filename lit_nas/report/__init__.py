"""What a genotype costs and looks like."""
