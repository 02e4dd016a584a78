"""Training: a recipe → the model folder that it makes.

recipe      one YAML says all of a run
features    step 1, the frozen encoder's features, computed once
batches     step 2, which clips a step sees, and what is asked about them
packing     step 2, questions and answers as token rows
language    step 3, the frozen language model, as fast as the machine runs it
loop        step 4, the loop and the evaluation as it goes
checkpoint  everything a run needs to go on exactly
log         a CSV, and the loss curve as a picture
"""
