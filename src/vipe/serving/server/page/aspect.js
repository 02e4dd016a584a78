// How wide a video or picture is for its height: the model sees squares, people would not.

import { make } from "./dom.js";

/** Width by height of a video or picture, as this browser reads it; 1 where it does not. */
export async function aspectOf(file) {
  if (file.type.startsWith("image/")) {
    const picture = await createImageBitmap(file).catch(() => null);
    if (!picture) return 1;
    const aspect = picture.width / picture.height;
    picture.close();
    return aspect;
  }
  const address = URL.createObjectURL(file);
  const video = make("video", { preload: "metadata", muted: true });
  try {
    return await new Promise((resolve) => {
      video.onloadedmetadata = () => resolve(video.videoWidth / video.videoHeight || 1);
      video.onerror = () => resolve(1);
      setTimeout(resolve, 3000, 1);
      video.src = address;
    });
  } finally {
    video.removeAttribute("src");
    URL.revokeObjectURL(address);
  }
}
