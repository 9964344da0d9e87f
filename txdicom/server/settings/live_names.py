"""Which settings can change while the server runs. Every setting is in one of the two, which a test sees to.

The settings of add-ins can change: `IAddinOptions.apply`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _names(**tables: str) -> Mapping[str, frozenset[str]]:
    return {table: frozenset(names.split()) for table, names in tables.items()}


#: limits at once, the others for associations, connections and log lines to come
LIVE: Final = _names(
    server="""
        max_clients max_clients_per_ae allow_multiple_connections max_half_open
        max_pdu_length pdu_tolerance max_associate_length max_operations
        artim_timeout dimse_timeout client_timeout idle_action reconnect_timeout addin_timeout write_timeout
        drain_timeout
        no_delay quick_ack receive_buffer send_buffer implementation_class_uid implementation_version_name
        check_called_ae allow_anonymous reject_no_context unknown_sop_classes copy_pixel_data_to_observers
        allow_anonymous_move anonymous_move_port display_name description start_mode
    """,
    archive="flush duplicates",
    tls="certificate key key_password_file ca verify_host_name profile client_certificate",
    log="level rotate_size rotate_count audit audit_instances patient_data datasets dataset_count",
    addins="",
)
#: what the server is made of when it starts; `server.ae_title` never changes
RESTART: Final = _names(
    server="""
        ae_title listen secure_listen admin_socket admin_connections password_file password_required workers
        temporary_directory addin_threads watch_reactor
    """,
    archive="store",
    tls="",
    log="format",
    addins="enabled required",
)
