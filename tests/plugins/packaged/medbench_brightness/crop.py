"""What the family measures in an image."""


def brightness(images, share):
    """Mean of the central ``share`` of each side, 0 to 1, shape (n_images,)."""
    margin = int(images.shape[1] * (1 - share) / 2)
    inner = images[:, margin : images.shape[1] - margin, margin : images.shape[2] - margin]
    return inner.reshape(len(images), -1).mean(axis=1) / 255
