"""What a file is that is no checkpoint: what servers, Git and archives leave under a checkpoint's name."""

import re

PICKLES = b"(lcdS]}IFVLNiU"  # how a pickle of protocol 0 or 1 may begin; all later ones begin with 0x80
HEAD = 4096
MAGIC = (
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a rar archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras?), not PyTorch's"),
    (b"\x93NUMPY", "a single NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
    (b"GGUF", "a GGUF file, which llama.cpp reads"),
)


def what_it_is(head: bytes, length: int) -> str | None:
    """In words and with what to do, from the first HEAD bytes; None when it may be a checkpoint."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"^size (\d{1,18})$", text.replace(b"\r", b""), re.M)
        whole = f" (the file has {int(size[1]):,} bytes)" if size else ""
        return f"a Git LFS pointer, not the file itself{whole}; fetch it with git lfs pull"
    if re.match(rb"<(!doctype|html|head|body|script|!--)", text, re.I):
        title = re.search(rb"<title[^>]*>\s*([^<]{1,80})", text, re.I)
        name = f" ({' '.join(str(title[1], 'utf-8', 'replace').split())})" if title else ""
        return f"a web page{name}, not the file itself; download it again, in a browser if it asks for a confirmation"
    if text.startswith(b"<?xml") or text.startswith(b"<Error>"):
        return "an XML text (a server's error?), not the file itself; download it again"
    if re.match(rb'[{\[]\s*"', text):
        return "a JSON text (a server's error?), not the file itself; download it again"
    if not head.strip(b"\0"):
        return "nothing but zeros at its beginning (a download that was broken off?); download it again"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first (PyTorch's own tar files ended in 2016)"
    found = next((what for magic, what in MAGIC if head.startswith(magic)), None)
    if found is None and length < HEAD and re.match(rb"(\[InternetShortcut\]|https?://\S+$)", text.strip()):
        return "a link, not the file itself; download what it points to"
    return found


def may_be_old_pickle(head: bytes, end: bytes) -> bool:
    """Whether a file may be a pickle of protocol 0 or 1."""
    return head[:1] in [PICKLES[i : i + 1] for i in range(len(PICKLES))] and end == b"."
