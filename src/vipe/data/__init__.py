"""Data: clips with questions, from generated scenes and from captioned photographs.

clip                     what a source hands to training
pictures, drawing        named pictures, and how they are drawn
scenes, scene_*          generated scenes: sampled, drawn, asked about, joined, written as files
photographs, photograph_*  captioned photographs as clips
captions, caption_*, presence  questions made from captions by rules
"""
