"""Parts of `transformers_model.py`: a vision-language model in this process, by transformers.

`folder.py` finds the files, `interface.py` reads what the model takes and `weights.py` its weights,
`prompts.py` turns requests into its inputs, `decoding.py` draws the words.
"""
