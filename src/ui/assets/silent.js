// Tells the app's page that has this one in a frame, and no other, what came of its question.
const { message, origin } = document.body.dataset;
window.parent.postMessage(message, origin);
