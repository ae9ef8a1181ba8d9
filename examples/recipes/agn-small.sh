#!/usr/bin/env bash
# How the shipped weights agn-small were trained, stage by stage; about three hours on two CPU cores.
#
#   bash examples/recipes/agn-small.sh CONTENT STYLE OUT [NAMED]
#
# CONTENT is a folder of photographs, STYLE one of pictures with a folder for each class: see the model card's data. Run it in a
# clone with its history: three stages begin with, or are finished by, what was in the repository then. NAMED is a folder of the
# classes that get names, by default STYLE.
set -eu
content=$1 style=$2 out=$3 named=${4:-$2}
mkdir -p "$out"

train() { agnlib train --content "$content" --style "$style" --perceptual vgg16+efficientnet-lite0 "$@"; }
style_path() { python examples/style_path.py --content "$content" --style "$style" "$@"; }
average() { python examples/average.py "$out/$1" "$out/$2" --share "$3" --out "$out/$4"; }
clouds() { sed -i "s/\"canvas_slope\": [0-9.]*/\"canvas_slope\": $2/" "$out/$1/config.json"; } # of the noise; takes no training
history() { git worktree add "$out/$1" "$2"; }

# strokes seen from afar, first at 144 px, then as large as references are read
history at-first 009327c
train --init "$out/at-first/agnlib/weights/agn-fast" --out "$out/stage-1" \
    --blocks 1 3 6 --size 144 --stroke-scale 1.5 --steps 943
train --init "$out/stage-1" --out "$out/stage-2" \
    --size 144 --stroke-scale 1.5 --steps 2400 --style-weight 1.8 --adversarial 0.8 --seed 1
average stage-1 stage-2 0.75 begun-3
train --init "$out/begun-3" --out "$out/stage-3" \
    --size 144 --steps 400 --style-weight 1.5 --adversarial 0.5 --learning-rate 6e-4 --seed 3
clouds stage-3 1.3
train --init "$out/stage-3" --out "$out/stage-4" \
    --size 208 --batch 2 --steps 800 --style-weight 0.5 --adversarial 0.5 --learning-rate 6e-4 --seed 5
average stage-3 stage-4 0.6 begun-5
train --init "$out/begun-5" --out "$out/stage-5" \
    --size 208 --batch 2 --steps 800 --style-weight 0.6 --adversarial 0.5 --learning-rate 6e-4 --seed 6
average begun-5 stage-5 0.3 averaged-5
clouds averaged-5 1.6
history fitting d141f83
python "$out/fitting/benchmarks/refit.py" --weights "$out/averaged-5" --content "$content" --style "$style" \
    --steps 32 --out "$out/fitted-5" # names and chance

# paintings with their strokes, and layers that do nothing yet: fitted-5 with these is what commit 286e5fb ships
history wider 286e5fb
train --init "$out/wider/agnlib/weights/agn-small" --out "$out/stage-6" \
    --size 208 --batch 2 --steps 496 --style-weight 0.8 --adversarial 0.5 --learning-rate 6e-4
# the way from a reference to its style alone
style_path --init "$out/stage-6" --out "$out/stage-7" \
    --hidden 512 --size 208 --stroke-scale 0.923 --batch 6 --minutes 34
train --init "$out/stage-7" --out "$out/stage-8" \
    --size 208 --batch 2 --minutes 18 --style-weight 0.7 --adversarial 0.5 --learning-rate 4e-4 --seed 7
style_path --init "$out/stage-8" --out "$out/stage-9" --minutes 13 --seed 9 --name-steps 0
average stage-8 stage-9 0.6 averaged-9
# calm skies: the same way, no rougher where a photo is flat than the reference where it is
style_path --init "$out/averaged-9" --out "$out/stage-10" --minutes 70 --threads 1 \
    --rate 5e-4 --lost 1.05 --flatness 0.4 --seed 41 --name-steps 0
average averaged-9 stage-10 0.5 averaged-10
style_path --init "$out/averaged-10" --style "$named" --out "$out/agn-small" --minutes 0 --name-steps 24 --seed 5
