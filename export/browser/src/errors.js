/* What is wrong with a file that somebody chose, in words for that person. Other errors are mistakes of the page. */
export class InputError extends Error {}
