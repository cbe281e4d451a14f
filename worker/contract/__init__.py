"""What the HTTP front end and the workers agree on, and nothing else.

Only the standard library, pydantic, redis and rq may be imported here, so that the front end needs no
TensorFlow and a worker needs no FastAPI.
"""
