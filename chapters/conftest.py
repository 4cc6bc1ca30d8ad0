"""A chapter's kernel that dies at its start is started again, once, when nbval runs the chapters.

It takes five ports that were free a moment ago; where many programs start at once, another may have one of them
by then. What a chapter prints is no matter of this: no cell has run.
"""

import nbval.kernel

start = nbval.kernel.start_new_kernel


def start_new_kernel(*arguments, **settings):
    try:
        return start(*arguments, **settings)
    except RuntimeError as error:
        print(f"a kernel did not start and is tried again: {error}")
        return start(*arguments, **settings)


nbval.kernel.start_new_kernel = start_new_kernel
