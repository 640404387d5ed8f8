"""A trained model as files for other programs.

`writing` makes the folder that model hubs expect and puts into it what is asked for: safetensors,
StableHLO (`stablehlo`), ONNX (`onnx_file`), a page for browsers (`web`); `card` says what the model
does and does not do. Nothing counts as written before it was compared with the model on `pairs`.
"""
