import httpx


def says_try_again(answer: httpx.Response) -> bool:
    """Whether this is a 503 that says when; that it claims nothing is asserted."""
    assert b"true" not in answer.content
    return answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
