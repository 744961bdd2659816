/*
 * pool.c - the bounded worker pool: handlers that may block run here, not on a poller.
 *
 * A full queue is an answer (QUEUE_FULL), never a wait.  Work for a call that was let in earlier is
 * forced in: each call has one job at most, so open streams bound it.
 */
#include "common/rpc/internal.h"

struct wr_pool {
    pthread_mutex_t lock;
    pthread_cond_t some;
    wr_job *head;
    wr_job **tail_p;
    unsigned queued;
    unsigned queue_max;
    bool ending;
    unsigned worker_count;
    pthread_t workers[];
};

static wr_job *
take_job(wr_pool *pool)
{
    wr_job *job;

    pthread_mutex_lock(&pool->lock);
    while (pool->head == NULL && !pool->ending)
        pthread_cond_wait(&pool->some, &pool->lock);
    job = pool->head;
    if (job != NULL) {
        pool->head = job->next;
        pool->queued--;
        if (pool->head == NULL)
            pool->tail_p = &pool->head;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *
work(void *argument)
{
    wr_pool *pool = argument;

    (void)pthread_setname_np(pthread_self(), "rpc-worker");
    for (wr_job *job = take_job(pool); job != NULL; job = take_job(pool))
        job->run(job);
    return NULL;
}

wr_pool *
wr_pool_create(unsigned workers, unsigned queue_max)
{
    wr_pool *pool = weir_alloc_zero(1, sizeof *pool + workers * sizeof pool->workers[0]);

    weir_assert(workers > 0 && queue_max > 0);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->some, NULL);
    pool->tail_p = &pool->head;
    pool->queue_max = queue_max;
    pool->worker_count = workers;
    for (unsigned i = 0; i < workers; i++)
        weir_assert(pthread_create(&pool->workers[i], NULL, work, pool) == 0);
    return pool;
}

void
wr_pool_destroy(wr_pool **pool_p)
{
    wr_pool *pool = *pool_p;

    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->some);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->worker_count; i++)
        pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->some);
    pthread_mutex_destroy(&pool->lock);
    weir_free(pool);
    *pool_p = NULL;
}

bool
wr_pool_push(wr_pool *pool, wr_job *job, bool force)
{
    bool taken;

    pthread_mutex_lock(&pool->lock);
    weir_assert(!pool->ending);
    taken = force || pool->queued < pool->queue_max;
    if (taken) {
        job->next = NULL;
        *pool->tail_p = job;
        pool->tail_p = &job->next;
        pool->queued++;
        pthread_cond_signal(&pool->some);
    }
    pthread_mutex_unlock(&pool->lock);
    return taken;
}
