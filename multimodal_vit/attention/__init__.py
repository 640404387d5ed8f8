"""Where a trained model looks (`maps`), what it uses (`occlusion`), and both asked (`probe`)."""
