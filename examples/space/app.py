from tempfile import mkdtemp

from agnlib import Stylizer, demo

demo.page(Stylizer.from_pretrained(), mkdtemp()).launch()
