/* What a caller of the socket may choose, and how much of it (docs/api.md, "Transport"). */
#ifndef RPC_RPC_LIMITS_H
#define RPC_RPC_LIMITS_H

#define RPC_LINE_MAX 262144u        /* bytes of a line without its end */
#define RPC_READ_CHUNK 65536u       /* bytes given to frame_reader_feed at once */
#define RPC_DEPTH_MAX 32u
#define RPC_MEMBERS_MAX 1024u       /* of one JSON object */
#define RPC_BATCH_MAX 64u
#define RPC_ID_MAX_LEN 256u         /* of an id that is a string */
#define RPC_IN_FLIGHT_MAX 128u      /* a connection */
#define RPC_REQUESTS_MAX 1024u      /* of a uid that are under way, where athd serves several */
#define RPC_HELD_MAX 67108864u      /* bytes of a uid's lines and unread answers, there, too */
#define RPC_CONNECTIONS_MAX 1024u   /* a uid */
#define RPC_LINE_TIMEOUT_MS 30000u  /* for the rest of a line that has begun */
#define RPC_WRITE_BACKLOG_MAX 1048576u /* answers a caller has not read */

/* json_parse of a line of the socket. */
#define RPC_JSON_LIMITS                                                                            \
    ((struct json_limits){.max_len = RPC_LINE_MAX, .max_depth = RPC_DEPTH_MAX,                     \
                          .max_members = RPC_MEMBERS_MAX, .numbers = JSON_INTEGERS})

#endif
