"""Learn to segment from few labelled cases. Called, the room does what `hilum finetune` does."""

from hilum.core.callable_module import calls

calls(__name__, "hilum.finetune.run:finetune")
