#!/usr/bin/env bash
# How the shipped weights agn-fast were trained, stage by stage; about four hours on two CPU cores.
#
#   bash examples/recipes/agn-fast.sh CONTENT STYLE OUT [NAMED]
#
# CONTENT, STYLE and NAMED as in agn-small.sh. Run it in a clone with its history: the teacher is the first agn-small.
set -eu
content=$1 style=$2 out=$3 named=${4:-$2}
mkdir -p "$out"

train() { agnlib train --content "$content" --style "$style" --perceptual vgg16+efficientnet-lite0 "$@"; }
average() { python examples/average.py "$out/$1" "$out/$2" --share "$3" --out "$out/$4"; }
clouds() { sed -i "s/\"canvas_slope\": [0-9.]*/\"canvas_slope\": $2/" "$out/$1/config.json"; } # of the noise; takes no training
history() { git worktree add "$out/$1" "$2"; }

history at-first 466870b
python examples/distil.py --teacher "$out/at-first/agnlib/weights/agn-small" --content "$content" --style "$style" \
    --blocks 0 1 3 --minutes 16 --out "$out/stage-1"
train --init "$out/stage-1" --out "$out/stage-2" --size 160 --stroke-scale 1 --minutes 33
train --init "$out/stage-2" --out "$out/stage-3" \
    --size 144 --steps 500 --style-weight 1.5 --adversarial 0.5 --learning-rate 6e-4 --seed 3
clouds stage-3 1.3
train --init "$out/stage-3" --out "$out/stage-4" \
    --size 208 --batch 2 --steps 700 --style-weight 0.6 --adversarial 0.5 --learning-rate 6e-4 --seed 5
average stage-3 stage-4 0.5 begun-5
train --init "$out/begun-5" --out "$out/stage-5" \
    --size 208 --batch 2 --steps 1200 --style-weight 0.7 --adversarial 0.5 --learning-rate 6e-4 --seed 6
average begun-5 stage-5 0.25 averaged
history fitting d141f83
python "$out/fitting/benchmarks/refit.py" --weights "$out/averaged" --content "$content" --style "$style" \
    --steps 80 --out "$out/fitted" # names and chance
# by the codes of agn-small's extractor, whose files of styles then fit both; flat parts no rougher than the reference's
python examples/style_path.py --init "$out/fitted" --extractor agn-small --content "$content" --style "$style" \
    --out "$out/stage-6" --minutes 95 --threads 1 --rate 5e-4 --lost 1.05 --flatness 0.4 --seed 51 --name-steps 0
# no regular grid in what is empty
python examples/style_path.py --init "$out/stage-6" --extractor agn-small --content "$content" --style "$style" \
    --out "$out/stage-7" --minutes 40 --threads 1 --rate 5e-4 --lost 1.05 --flatness 0.4 --evenness 1 --gridless 1 \
    --seed 61 --name-steps 0
python examples/style_path.py --init "$out/stage-7" --extractor agn-small --content "$content" --style "$style" \
    --out "$out/stage-8" --minutes 18 --threads 1 --rate 4e-4 --lost 1.03 --flatness 0.4 --evenness 1 --gridless 1 \
    --seed 63 --name-steps 0
average stage-6 stage-8 0.7 averaged-8
python examples/style_path.py --init "$out/averaged-8" --content "$content" --style "$named" --out "$out/agn-fast" \
    --minutes 0 --name-steps 24 --seed 5
