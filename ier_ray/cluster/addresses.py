"""Which Ray cluster a job joins, and whether it answers: Ray itself waits long for a dead one."""

from __future__ import annotations

import logging
import os
import time

import grpc
from ray._common.utils import get_ray_address_file
from ray._private import services
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated.gcs_pb2 import GcsNodeInfo
from ray.core.generated.gcs_service_pb2 import GetAllNodeInfoRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.core.generated.ray_client_pb2 import ClusterInfoRequest, ClusterInfoType
from ray.core.generated.ray_client_pb2_grpc import RayletDriverStub

from ier_ray.errors import ClusterError

logger = logging.getLogger(__name__)

ANSWER_S = 5.0
"""Seconds that a cluster may take to answer: a live one takes milliseconds."""
CLIENT = "ray://"
"""Addresses of Ray Client begin so; others are ``host:port``, ``auto`` or ``local``."""
REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
"""Answers of a live cluster to a caller without its token; joining it says what is wrong."""


def address_to_join() -> str | None:
    """The address for ``ray.init``: None lets Ray find the cluster, or start one if none is known.

    A cluster that died uncleanly leaves its record on the machine. Such a record is named in a
    warning, and the address is ``local``: a new cluster.

    Raises:
        ClusterError: when ``RAY_ADDRESS`` names a cluster that does not answer.
    """
    given = os.environ.get("RAY_ADDRESS")
    problem = why_not_joined(given)
    if problem is None:
        return None
    if given:
        raise ClusterError(
            f"RAY_ADDRESS is {given!r}, but no Ray cluster can be joined there: {problem}; start "
            f"it, correct RAY_ADDRESS, or unset it to run on this machine alone"
        )
    record = get_ray_address_file(None)
    logger.warning(
        "%s records a Ray cluster that cannot be joined: %s. Starting one on this machine instead; "
        "remove that file if the cluster is gone",
        record,
        problem,
    )
    return "local"


def why_not_joined(given: str | None) -> str | None:
    """Why the cluster that ``RAY_ADDRESS`` names, or else the machine's record, cannot be joined.

    Returns:
        None when it can be joined, or when there is none and Ray starts one.
    """
    try:
        if given and "://" in given:
            return why_no_client(given)
        address = services.canonicalize_bootstrap_address(None)  # reads RAY_ADDRESS itself
    except (OSError, ValueError) as error:  # a record that cannot be read, or is no address
        return " ".join(str(error).split())
    return None if address is None else why_no_driver(address)


def why_no_driver(address: str) -> str | None:
    """Why a program on this machine cannot join the cluster at ``host:port``; None if it can.

    A cluster can be joined from the machines of its nodes only. A node that is starting is waited
    for.
    """
    deadline = time.monotonic() + ANSWER_S
    alive = GetAllNodeInfoRequest(state_filter=GcsNodeInfo.GcsNodeState.ALIVE)
    with create_gcs_channel(address) as channel:
        nodes = NodeInfoGcsServiceStub(channel).GetAllNodeInfo
        while True:
            try:
                reply = nodes(alive, timeout=ANSWER_S)
            except grpc.RpcError as error:
                return None if error.code() in REFUSALS else f"{address}: {reason_of(error)}"
            if services.find_node_ids() & {node.node_id.hex() for node in reply.node_info_list}:
                return None
            if time.monotonic() > deadline:
                return f"{address}: it has no node on this machine"
            time.sleep(0.2)


def why_no_client(given: str) -> str | None:
    """Why Ray Client cannot connect to a ``ray://`` address; None if it can."""
    if not given.startswith(CLIENT):
        return "it must be host:port, auto, local or ray://host:port"
    with create_gcs_channel(given.removeprefix(CLIENT)) as channel:
        try:
            ping = ClusterInfoRequest(type=ClusterInfoType.PING)
            RayletDriverStub(channel).ClusterInfo(ping, timeout=ANSWER_S)
        except grpc.RpcError as error:
            return None if error.code() in REFUSALS else reason_of(error)
    return None


def reason_of(error: grpc.RpcError) -> str:
    """The last part of a failure that gRPC describes as a chain of failures."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {ANSWER_S:g} s"
    last = " ".join(error.details().split()).rpartition(": ")[2]
    return f"nothing there speaks Ray's protocol ({last})"
