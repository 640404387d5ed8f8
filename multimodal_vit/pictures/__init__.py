"""Pictures of one's own, made to look like those that a model was trained on.

`reading` takes whatever holds a picture, `appearance` measures what the training pictures look
like, `fitting` makes one look like them. The web page of `--mode=export` fits in the same way, in
JavaScript.
"""
