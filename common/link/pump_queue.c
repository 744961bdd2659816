/*
 * pump_queue.c - frames between the core's thread and the pump's.  Full means not sent: the link
 * tries again, and the outbox is what does not lose.
 */
#include "common/link/pump_internal.h"

bool
link_queue_push(link_queue *queue, weir_bytes frame)
{
    if (queue->count == LINK_QUEUE_FRAMES_MAX)
        return false;
    if (queue->count > 0 && queue->bytes + frame.size > LINK_QUEUE_BYTES_MAX)
        return false;

    zmq_msg_t *place = &queue->frames[(queue->first + queue->count) % LINK_QUEUE_FRAMES_MAX];
    if (zmq_msg_init_size(place, frame.size) != 0)
        return false; /* no memory: not sent */
    memcpy(zmq_msg_data(place), frame.data, frame.size);
    queue->count++;
    queue->bytes += frame.size;
    return true;
}

bool
link_queue_pop(link_queue *queue, zmq_msg_t *ret_frame)
{
    if (queue->count == 0)
        return false;
    zmq_msg_t *oldest = &queue->frames[queue->first];

    zmq_msg_init(ret_frame);
    zmq_msg_move(ret_frame, oldest);
    zmq_msg_close(oldest);
    queue->first = (queue->first + 1) % LINK_QUEUE_FRAMES_MAX;
    queue->count--;
    queue->bytes -= zmq_msg_size(ret_frame);
    return true;
}

void
link_queue_fini(link_queue *queue)
{
    zmq_msg_t frame;

    while (link_queue_pop(queue, &frame))
        zmq_msg_close(&frame);
}
