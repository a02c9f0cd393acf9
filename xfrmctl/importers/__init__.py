"""``xfrmctl import``: configurations of other products -> ours, and a report of what became of every option.

    text ── syntax ──▶ sections ── dialects ──▶ neutral ── mapping ──▶ tree, report ── write ──▶ a directory

=========  ==============================================================================
module     is
=========  ==============================================================================
origin     where a setting comes from; ImportFault: file and line, never the text
report     what became of each option, for people and for scripts
files      bounded reading; includes that lead nowhere but where the user has pointed
neutral    what all dialects are read into
syntax     forms: text -> sections and settings, strict and bounded
words      proposals, identities, selectors, times: their words -> ours
dialects   what each product's options and defaults mean: tables and readers
mapping    neutral -> our configuration
write      YAML with comments; the directory, secrets for their owner only
detect     whose file it is
convert    all of it in order; the result goes through the check of `xfrmctl check`
=========  ==============================================================================
"""
