// Returns [text, contrast ratio] of each piece of visible text outside of drawings against the nearest opaque background.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const toBytes = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (bytes) => {
    const [r, g, b] = bytes.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const bytes = toBytes(getComputedStyle(each).backgroundColor);
      if (bytes[3] === 255) return bytes;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest(".hidden, .skip, script, option")) continue;
    const inDrawing = element.closest("svg");
    if (inDrawing && element.closest("title, desc, .count, .name")) continue;
    const style = getComputedStyle(element);
    const front = luminance(toBytes(inDrawing ? style.fill : style.color));
    const behind = luminance(background(element));
    found.push([text.slice(0, 40), (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05)]);
  }
  return found;
}
