// What a dialog or a text field keeps from the rest of the page.

const TEXT = "input:is([type=text], [type=password])";
const OPEN = "dialog[open]";

export const hasDialog = () => document.querySelector(OPEN) !== null;

/** Whether keys and pastes are the page's: no dialog is open, and nobody edits a text. */
export const pageHasKeys = () => !hasDialog() && !document.activeElement?.matches(TEXT);

/** Close the dialogs; what they were opened for is no longer shown. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll(OPEN)) dialog.close();
}
