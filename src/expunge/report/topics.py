"""The groups of figures: which question each answers, and what its figures are, in one sentence."""

from dataclasses import dataclass

from expunge.task.words import MISCLASSIFY, WORDS, GoalWords


@dataclass(frozen=True, slots=True)
class Topic:
    """A group of figures: the question that they answer, and what they are, in one sentence."""

    question: str
    explanation: str


TOPICS = {
    "goal": Topic(
        "Were the images forgotten?",
        "Share of the images for which the edited classifier no longer gives the old answer (or gives the new one that "
        "was asked for): on the very pixels, and on mirrored, shifted, resized, recompressed or noised copies.",
    ),
    "accuracy": Topic(
        "How often is it right?",
        "Share of images answered with their label, before and after: of the forgotten images, of other training "
        "images and of test images, which were never trained on.",
    ),
    "churn": Topic(
        "How many other answers changed?",
        "Share of other images that are answered differently than before, right or wrong; accuracy hides changes that "
        "cancel out.",
    ),
    "answers": Topic(
        "Does it still use all its classes?",
        "If one class took most of the answers, the classifier would have been broken rather than edited.",
    ),
    "neighbours": Topic(
        "Was there damage close by?",
        "Changed answers on the images most like the forgotten images, and on slightly noised ones, where an edit does "
        "most harm.",
    ),
    "retrained": Topic(
        "How far is it from one that never saw the images?",
        "Classifiers trained from scratch without the images are the reference; the gap is the mean difference in "
        "accuracy to them. The last three figures compare answers, image by image.",
    ),
    "zrf": Topic(
        "How like an untrained classifier does it answer? The ZRF score",
        "1 is the answers of a classifier with random weights. That is no aim in itself: classifiers that never saw "
        "the images know much about them, and what these give is the target.",
    ),
    "outsider": Topic(
        "Can an outsider pick them out? The strongest attack",
        "Of one of these images and one that was never trained on, how often the strongest of the attacks below names "
        "the former. The best of several attacks is above 50% by luck alone, more so among few images: the target is "
        "what the best of them reaches for images drawn at random.",
    ),
    "membership": Topic(
        "Can an outsider tell that the images were trained on? Simple attacks",
        "An attack scores each image by how familiar the classifier finds it. AUC is how often a forgotten image "
        "scores higher than an unseen one: 0.5 is a coin toss, and well below 0.5 is a trace, too. These attacks are "
        "weak.",
    ),
    "fingerprint": Topic(
        "Can an outsider find them by a fingerprint of the edit?",
        "Two attacks look for the shape that the edit gave to the answers, and know no label: one knows by how much "
        "the answer of a typical forgotten image leads the next answer, the other has learned from four fifths of the "
        "forgotten images what the rest look like. 0.5 is a coin toss.",
    ),
    "rmia": Topic(
        "Can an outsider tell? The RMIA attack",
        "Compares each image with others, helped by classifiers the attacker trained (shadow models). TPR: share of "
        "forgotten images found when 1 in 100 unseen ones is accused wrongly.",
    ),
    "ulira": Topic(
        "Can an outsider tell? The U-LiRA attack",
        "Compares the answer on each image with those of many classifiers that trained on it and were edited for it, "
        "and of others that never saw it and were not edited. It also finds what changed for all images alike.",
    ),
    "ulira_edited": Topic(
        "Can an outsider tell what was edited? U-LiRA among edited classifiers",
        "The same, but those that never saw the image were edited too, on the other images. What the edit changes for "
        "all images alike is then no clue; what is found is left of the image itself.",
    ),
    "klom": Topic(
        "Does it answer like classifiers that never saw the images?",
        "KLOM compares how sure several edited classifiers are of each image with how sure others are that never saw "
        "it; 0 nats is no difference, and few classifiers differ by chance, which is the target.",
    ),
    "residual": Topic(
        "Are slightly changed copies still recognised? Residual knowledge",
        "Copies of each image with a little noise are answered by the edited classifier and by those that never saw "
        "the image. Above 1 the edited one recognises more of them than those do: something of the image is left "
        "around it; far below 1 it was pushed away.",
    ),
    "patch": Topic(
        "What does the change of the weights give away?",
        "Somebody who has both versions of the classifier and a heap of images asks of each how strongly the change of "
        "a layer answers to it, and names the highest. Where the first layer is fully connected, the change holds a "
        "picture that can be rebuilt without any images. Nothing is read from the answers here, which tell more: an "
        "image whose answer changed stands out. So keep old versions and the patch as safe as the images.",
    ),
    "relearning": Topic(
        "How soon does it come back?",
        "Steps of further training on other images until the forgotten images are answered as before; a quick return "
        "means that they were only hidden.",
    ),
    "probe": Topic(
        "Do its inner features still tell?",
        "A simple classifier fitted on the inner features (a linear probe) of other images is asked for the forgotten "
        "images; high means that the features still hold the answer.",
    ),
    "cka": Topic(
        "How much did its inner features change?",
        "CKA compares what a layer computes before and after; 1 is the same up to rotation and scale, 0 is unrelated.",
    ),
    "pattern": Topic(
        "What are the forgotten images answered with now?",
        "If most of them take one and the same answer, someone who knows that can find them.",
    ),
    "weights": Topic(
        "How much did the weights change?",
        "Size of the change, and share of the weight tensors touched. Whoever has both versions can learn what was "
        "removed.",
    ),
    "cost": Topic("What did the edit take?", "Time, gradient evaluations and memory of the edit itself."),
}


def topic_of(name: str, words: GoalWords = WORDS[MISCLASSIFY]) -> Topic:
    """Return the topic of a figure by its dotted name, in the words of a goal; one that isn't known keeps its name."""
    prefix = name.partition(".")[0]
    topic = TOPICS.get(prefix, Topic(prefix, ""))
    question = words.question if prefix == "goal" else topic.question
    forgotten = WORDS[MISCLASSIFY]
    for plain, own in zip(*map(_replaced, (forgotten, words)), strict=True):
        topic = Topic(question.replace(plain, own), topic.explanation.replace(plain, own))
        question = topic.question
    return topic


def _replaced(words: GoalWords) -> tuple[str, ...]:
    """Return the words of a goal that stand in topics."""
    return words.rows, words.row, words.returns
