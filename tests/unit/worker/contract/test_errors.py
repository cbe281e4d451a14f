from worker.contract.errors import FieldError, InvalidRequest, UnknownFamily


def test_an_error_of_a_part_of_a_request_can_be_put_where_that_part_is():
    errors = [FieldError(pointer=f"#/model/{field}", detail=field) for field in ("family", "preset")]
    moved = UnknownFamily("There is no such family.", errors=errors).below("#/generator")
    assert type(moved) is UnknownFamily
    assert moved.detail == "There is no such family."
    assert [error.pointer for error in moved.errors] == ["#/generator/model/family", "#/generator/model/preset"]
    assert [error.detail for error in moved.errors] == ["family", "preset"]
    assert InvalidRequest.at("#", "All of it.").below("#/generator").errors[0].pointer == "#/generator"
