"""The live panel: the widget, what passes between browser and kernel, the looks inside, the replay of a run.

`widget` is what a notebook shows, `session` answers the browser from the event log of the runs, `wire` says how, and
`panel` is what every widget of ours has in common.
"""
