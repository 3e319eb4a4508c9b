"""Tables and figures of the studies against ground truth (NAS-Bench-201).

A *method* is a variant of a study over cells: something that is trained once and gives a
distribution over cells. Searches of the table (*rivals*) train nothing and ask for one cell after
the other. All accuracies are true test accuracies on the study's own data set unless said.
"""
