"""The names of the axes, and nothing else.

batch    rows that know nothing of each other
time     positions in a sequence, oldest first
dim      features a mixer reads; `out`, features it answers with, where they differ
heads    parts of the features that recur apart
key      features a memory is addressed by
value    features a memory answers with
chunk    positions computed together
vocab    symbols of a tokenizer
window   positions a sliding window still sees
"""
