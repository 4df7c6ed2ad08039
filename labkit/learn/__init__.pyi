from labkit.learn.atlas_panel import atlas_card
from labkit.learn.course_map import course_map
from labkit.learn.exercises import check, hint
from labkit.learn.material import photographs
from labkit.learn.predict_card import classify, predict_panel
from labkit.learn.predictions import predict, reveal
from labkit.learn.quiz_card import quiz
from labkit.learn.scoring import score
from labkit.learn.sealed import seal
from labkit.learn.warming import warm_up

__all__ = [
    "atlas_card",
    "check",
    "classify",
    "course_map",
    "hint",
    "photographs",
    "predict",
    "predict_panel",
    "quiz",
    "reveal",
    "score",
    "seal",
    "warm_up",
]
