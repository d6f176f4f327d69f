/**
 * A picture from the camera.
 *
 * @module
 */
import { byId } from "./elements.ts";
import { type LoadedPicture, takeFrame } from "./load_picture.ts";
import { notify } from "./notices.ts";

const reasons: Readonly<Record<string, string>> = {
  NotAllowedError: "The camera is not allowed here: allow it beside the page's address.",
  NotFoundError: "There is no camera: connect one, or open an image.",
  NotReadableError: "The camera is in use by another program: close that one and try again.",
};

/** Lets the dialog take pictures. */
export function prepareCamera(onPicture: (picture: LoadedPicture) => void): void {
  const dialog = byId("camera-dialog", HTMLDialogElement);
  const video = byId("video", HTMLVideoElement);
  const shoot = byId("shoot", HTMLButtonElement);
  let isOpening = false;
  byId("camera", HTMLButtonElement).onclick = async () => {
    if (isOpening) return;
    isOpening = true;
    try {
      if (navigator.mediaDevices === undefined) {
        notify("Cameras need a secure page: open this one over https or localhost.", {
          isError: true,
        });
        return;
      }
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 1024 }, facingMode: "environment" },
      });
      video.srcObject = stream;
      shoot.disabled = true;
      dialog.showModal();
      await video.play();
      shoot.disabled = false;
      shoot.focus();
    } catch (error) {
      const { name, message } = error as Error;
      notify(reasons[name] ?? `The camera failed: ${message}.`, { isError: true });
      dialog.close();
    } finally {
      isOpening = false;
    }
  };
  shoot.onclick = () => {
    const picture = takeFrame(video, "camera.png");
    dialog.close();
    onPicture(picture);
  };
  byId("camera-close", HTMLButtonElement).onclick = () => dialog.close();
  dialog.addEventListener("close", () => {
    for (const track of (video.srcObject as MediaStream | null)?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  });
}
