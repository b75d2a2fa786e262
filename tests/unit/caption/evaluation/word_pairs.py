"""Pairs of phrases that mean the same thing, or things that are easily confused.

The threshold of the sentence encoder is chosen on CHOSEN_ON; what it does is reported on
REPORTED_ON. No phrase is in both.
"""

CHOSEN_ON = [
    ("car", "automobile", True), ("dog", "puppy", True), ("bicycle", "bike", True),
    ("sofa", "couch", True), ("a man walks down the street", "a man is walking along a road", True),
    ("kitchen", "indoor kitchen", True), ("child", "kid", True), ("woman", "lady", True),
    ("photorealistic", "realistic", True), ("animation", "animated cartoon", True),
    ("television", "TV", True), ("airplane", "aircraft", True), ("boat", "ship", True),
    ("pouring coffee", "pours coffee into a cup", True), ("running", "a person runs", True),
    ("city street at night", "urban street, nighttime", True), ("forest", "woods", True),
    ("beach", "sandy beach by the sea", True), ("cell phone", "smartphone", True),
    ("cooking", "preparing food", True), ("police officer", "policeman", True),
    ("a ball falls into the water", "a ball drops into water", True),
    ("documentary", "documentary footage", True),
    ("black and white film", "monochrome movie", True),
    ("swimming", "swims in a pool", True),
    ("dog", "cat", False), ("car", "truck", False), ("running", "walking", False),
    ("kitchen", "bathroom", False), ("man", "woman", False), ("apple", "orange", False),
    ("table", "chair", False), ("beach", "desert", False),
    ("pouring water", "drinking water", False),
    ("opening a door", "closing a door", False), ("guitar", "violin", False),
    ("sitting", "standing", False), ("horse", "cow", False), ("bus", "train", False),
    ("forest", "city", False), ("photorealistic", "cartoon", False), ("cup", "bowl", False),
    ("a man walks down the street", "a woman dances on stage", False), ("hat", "shoe", False),
    ("cooking", "eating", False), ("swimming", "diving", False), ("sunrise", "storm", False),
    ("tree", "flower", False), ("window", "door", False), ("office", "classroom", False),
]  # fmt: skip

REPORTED_ON = [
    ("cat", "kitten", True), ("motorcycle", "motorbike", True), ("rock", "stone", True),
    ("cup", "mug", True), ("garden", "backyard garden", True), ("baby", "infant", True),
    ("computer", "laptop computer", True), ("jogging", "a woman jogs", True),
    ("living room", "lounge", True), ("mountain", "mountain landscape", True),
    ("a bird lands on a branch", "a bird alights on a tree branch", True), ("taxi", "cab", True),
    ("watercolor painting", "watercolour style", True), ("taking a photo", "photographing", True),
    ("riding a bicycle", "cycling", True), ("spectacles", "eyeglasses", True),
    ("ocean", "sea", True), ("speaking", "talking", True), ("shop", "store", True),
    ("3D animation", "computer animation", True), ("doctor", "physician", True),
    ("the lights go out", "the lights turn off", True), ("snowy street", "street in snow", True),
    ("vintage film", "old film style", True), ("laughing", "a girl laughs", True),
    ("bird", "fish", False), ("knife", "fork", False), ("jumping", "sleeping", False),
    ("bedroom", "garage", False), ("boy", "girl", False), ("lemon", "banana", False),
    ("lamp", "candle", False), ("mountain", "lake", False),
    ("throwing a ball", "catching a ball", False),
    ("reading", "writing", False), ("piano", "drum", False), ("entering", "leaving", False),
    ("sheep", "pig", False), ("plane", "helicopter", False), ("supermarket", "hospital", False),
    ("watercolor painting", "pencil drawing", False), ("plate", "bottle", False),
    ("a bird lands on a branch", "a bird flies away", False), ("glove", "sock", False),
    ("washing dishes", "cooking dinner", False), ("skiing", "skating", False),
    ("rain", "fog", False), ("grass", "moss", False), ("roof", "wall", False),
    ("church", "castle", False),
]  # fmt: skip
