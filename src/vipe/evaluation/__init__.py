"""Evaluation: rows of questions in, one summary out.

rows            a JSONL file of questions
runner          a model's answers to them
metrics         accuracy, BLEU, ROUGE-L and CIDEr
intervals       how sure a figure is
answers         a JSONL file of answers, and two of them compared
report          the figures of several such files
chart           a picture of them
page            a page of both
operations      what ViPE and the twins compute and hold, counted on the meta device
shapes          the shapes of large models
random_weights  models of such shapes, to be timed
prompt          what they are asked
timing          what they take on this machine
peak_memory     the highest memory of a block
cost            both, at several lengths of video
cost_plot       a picture of it
"""
