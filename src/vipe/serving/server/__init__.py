"""`vipe serve`: a video is seen once, and asked as often as wanted (extra `serve`).

It speaks OpenAI's protocol:

app         puts the parts together
page        the page at /, of the files in page/
chat        questions: /v1/chat/completions
cost        what an answer costs, beside a model that reads every patch
videos      uploads, what is seen, adapters to take along: /v1/videos
progress    an upload in view: how looking at it goes on
merge_map   what the merge made of a video that was watched being seen
together    several videos in one question
schema      what requests and answers look like
access      who may ask, and how much may come in
refusals    errors, as OpenAI's clients know them
metrics     figures for Prometheus
library     seen videos: the store, and those in memory
seeing      one video at a time, beside the answers
fetching    URLs → files
addresses   which addresses may be connected to
spool       files of the server's own while a video comes in
decoding    files → frames, by a process of its own
decoder     that process
engine      many questions about many videos, answered together
batch       the rows of one forward pass
answers     tokens → text, and where it stops
limits      how much of everything
"""
