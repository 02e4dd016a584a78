"""Integrations: ViPE as a part of other projects' programs.

lmms_eval     a model and a task of lmms-eval
transformers  model folders in Auto classes, processors and pipelines
"""
