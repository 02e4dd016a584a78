"""Evaluation: rows of questions in, one summary out.

rows     a JSONL file of questions
runner   a model's answers to them
metrics  accuracy, BLEU, ROUGE-L and CIDEr
"""
