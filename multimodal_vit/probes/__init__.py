"""What a trained model uses: its answers, where it looks, what hiding a part changes.

`answers` asks suites and checks, `references` holds the readers beside them; `attention` asks where
a model looks (`maps`) and what it uses (`occlusion`), on the same pairs.
"""
