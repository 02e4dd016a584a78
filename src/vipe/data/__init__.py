"""Data: clips with questions, from generated scenes, captioned photographs and files of one's own.

clip                     what a source hands to training
pictures, drawing        named pictures, and how they are drawn
scenes, scene_*          generated scenes: sampled, drawn, asked about, joined, written as files
photographs, photograph_*  captioned photographs as clips
media, records           videos and pictures in files or tars as clips
conversations, webdataset  what people have them in: LLaVA's JSON, rows, tars
text                     reading JSON and JSONL files
captions, caption_*, presence  questions made from captions by rules
"""
