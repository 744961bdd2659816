/* The end of a document: gateway (G), stages, indexer (I), reconciler (R); PROTOCOLS.md "The end of a document". One document, up to ACCEPTS contents and DELETES deletes.
   Every step changes durable state and every budget is bounded, so the state graph has no cycle: progress is checked where nothing more can happen (timeout in Monitor), which is weak fairness.
   Rows are never consumed (delivery at least once, as late as you like); a stage may hold a row for ever; a row of a lower era is dropped when I is seeded with the new era.
   Budgets: -DACCEPTS -DDELETES -DWIPE_I -DWIPE_R -DWIPE_E -DRETRIES (client) -DREQUEUES (R) -DHOLDS; -DPARTS: a revision is two rows (staging key). */
#ifndef ACCEPTS
#define ACCEPTS 2
#endif
#ifndef DELETES
#define DELETES 1
#endif
#ifndef WIPE_I
#define WIPE_I 0
#endif
#ifndef WIPE_R
#define WIPE_R 0
#endif
#ifndef WIPE_E
#define WIPE_E 0
#endif
#ifndef RETRIES
#define RETRIES 1
#endif
#ifndef REQUEUES
#define REQUEUES 1
#endif
#ifndef HOLDS
#define HOLDS 1
#endif
#define MAXREV (ACCEPTS + DELETES)
#if ACCEPTS + DELETES > 1
#define TWO 2
#else
#define TWO 1
#endif
#define MAXE   (1 + RETRIES + REQUEUES + WIPE_I + WIPE_E)
#define IN(m, i) (((m) >> (i)) & 1)
#define PENDING 1 /* or PROCESSING */
#define READY 2
#define FAILED 3
#define SUPERSEDED 4
#define DELETED 5
#define TOMBSTONE 6
#define FINAL 15 /* I's answer WAS_READY, WAS_DELETED, SUPERSEDED */

/* G, durable */
byte nrev = 0; byte tomb = 0; byte st[MAXREV + 1]; byte ep[MAXREV + 1]; byte era = 0; byte redrive = 0; bit rebuilding = 0;
bit seeding = 0; byte s_tomb = 0; byte s_failed[MAXREV + 1];        /* seeds on their way to I */
/* rows in the stages: epochs, of this era and of lower ones; held for ever */
byte rows[MAXREV + 1]; byte old[MAXREV + 1]; byte held[MAXREV + 1];
/* I */
byte ready = 0; byte i_ep = 0; byte deleted = 0; byte revoked[MAXREV + 1]; byte event[MAXREV + 1]; byte i_era = 0; bit gate = 1; /* gate = 1: open */
#ifdef PARTS
byte pa[MAXREV + 1]; byte pb[MAXREV + 1];
#endif
/* R */
byte know[MAXREV + 1]; byte decided[MAXREV + 1]; byte revoking[MAXREV + 1]; byte answer[MAXREV + 1]; byte late[MAXREV + 1]; byte ask[MAXREV + 1]; bit give_up[MAXREV + 1];
/* budgets, losses not yet noticed by G, ghosts */
byte accepts = 0, deletes = 0, retries = 0, requeues = 0, holds = 0, wi = 0, wr = 0, we = 0; bit lost_i = 0, lost_r = 0, lost_e = 0;
byte delete_acked = 0; byte g_ready = 0; byte gave_up = 0; /* gave_up: FAILED and no acked retry since */

#define TAKES(r, e) (gate && (i_era == era && IN(rows[r], e) || ANY_ERA && IN(old[r], e)))
#ifdef MUTANT_NO_SEEDING
#define ANY_ERA true
#else
#define ANY_ERA (i_era < era)
#endif

#define DROP(m) m[r] = m[r] & (255 - (1 << e))

inline raise(r) { ep[r] = ep[r] + 1; st[r] = PENDING; rows[r] = rows[r] | (1 << ep[r]) }
inline raise_era() { era++; q = 1; seeding = 1; s_tomb = tomb;
  do :: q <= MAXREV -> old[q] = old[q] | rows[q]; rows[q] = 0; s_failed[q] = (st[q] == FAILED -> ep[q] : 0); q++ :: else -> q = 0; break od }

proctype Row(byte r; byte e) {
  do
#ifdef PARTS
  :: atomic { TAKES(r, e) && !IN(pa[r], e) -> pa[r] = pa[r] | (1 << e) }
  :: atomic { TAKES(r, e) && !IN(pb[r], e) -> pb[r] = pb[r] | (1 << e) }
#ifdef MUTANT_STAGING_WITHOUT_EPOCH
#define STAGED (pa[r] > 0 && pb[r] > 0)
#else
#define STAGED (IN(pa[r], e) && IN(pb[r], e))
#endif
#else
#define STAGED true
#endif
  :: atomic { TAKES(r, e) && STAGED && deleted < r && revoked[r] < e && ready < r -> /* one batch: the linearization point */
#ifdef PARTS
       assert(IN(pa[r], e) && IN(pb[r], e));
#endif
       assert(st[r] != FAILED && !IN(gave_up, r)); assert(r > delete_acked); assert(r >= g_ready);
       ready = r; i_ep = e; event[r] = e }
  :: atomic { TAKES(r, e) && ready == r && e > i_ep && event[r] == 0 -> event[r] = i_ep; DROP(rows) ; DROP(old) }  /* already READY: settles, repeats the event */
  :: atomic { IN(rows[r], e) && holds < HOLDS -> holds++; DROP(rows); held[r] = held[r] | (1 << e) }
#ifdef MUTANT_FENCE_AT_EMBEDDER
  :: atomic { IN(rows[r], e) && r < MAXREV && rows[r + 1] > 0 -> DROP(rows) } /* a lower revision than the greatest seen: a no-op */
#endif
  od }

proctype Reconciler(byte r) { byte q;
  do
  :: atomic { know[r] < ep[r] && !lost_r -> know[r] = ep[r] }                                  /* event, or seed after a wipe */
  :: atomic { revoking[r] == 0 && ask[r] == 0 && know[r] > decided[r] -> revoking[r] = know[r] } /* deadline or failure event */
  :: atomic { revoking[r] > 0 && answer[r] == 0 && gate ->                                      /* at I, one batch */
       if :: ready >= r || deleted > r -> answer[r] = FINAL;
#ifndef MUTANT_FINAL_WITHOUT_EVENT
             if :: ready >= r -> event[ready] = i_ep :: else fi                                 /* WAS_READY, SUPERSEDED: the event again */
#endif
          :: else -> answer[r] = revoking[r]; if :: revoked[r] < revoking[r] -> revoked[r] = revoking[r] :: else fi
       fi }
  :: atomic { revoking[r] > 0 && answer[r] == FINAL -> decided[r] = revoking[r]; revoking[r] = 0; answer[r] = 0 }
#ifdef MUTANT_ANSWER_OF_ANOTHER_EPOCH
  :: atomic { revoking[r] > 0 && late[r] > 0 -> late[r] = 0; ask[r] = revoking[r]; give_up[r] = 1; decided[r] = revoking[r]; revoking[r] = 0; answer[r] = 0 }
#endif
  :: atomic { revoking[r] > 0 && answer[r] == revoking[r] -> ask[r] = revoking[r]; decided[r] = revoking[r];
#ifdef MUTANT_ANSWER_OF_ANOTHER_EPOCH
       late[r] = revoking[r];
#endif
       if :: requeues < REQUEUES -> requeues++; give_up[r] = 0 :: give_up[r] = 1 fi; revoking[r] = 0; answer[r] = 0 }
  :: atomic { ask[r] > 0 ->                                                                     /* at G: RAISE or GIVE_UP, compare-and-set */
#ifdef MUTANT_NO_COMPARE_AND_SET
       if :: st[r] == PENDING || st[r] == FAILED ->
#else
       if :: st[r] == PENDING && ep[r] == ask[r] ->
#endif
             if :: give_up[r] -> st[r] = FAILED; gave_up = gave_up | (1 << r); assert(ready != r) :: !give_up[r] -> raise(r) fi
          :: else                                                                               /* DROPPED */
       fi; ask[r] = 0; give_up[r] = 0 }
  :: atomic { event[r] > 0 ->                                                                   /* READY at G */
#ifdef MUTANT_READY_OF_EQUAL_EPOCH_ONLY
       if :: st[r] == PENDING && ep[r] == event[r] ->
#else
       if :: st[r] == PENDING ->
#endif
             st[r] = READY; g_ready = r; q = 1;
             do :: q < r -> if :: st[q] == PENDING || st[q] == READY || st[q] == FAILED -> st[q] = SUPERSEDED :: else fi; q++ :: else -> q = 0; break od
          :: else -> assert(st[r] != FAILED)
       fi; event[r] = 0 }
  od }

active proctype Clients() { byte q;
  do
  :: atomic { accepts < ACCEPTS -> accepts++; nrev++; ep[nrev] = 0; raise(nrev) }
  :: atomic { deletes < DELETES && nrev > 0 -> deletes++; nrev++; tomb = nrev; st[nrev] = TOMBSTONE; q = 1;
       do :: q < nrev -> if :: st[q] != TOMBSTONE -> st[q] = DELETED :: else fi; q++ :: else -> q = 0; break od }
  :: atomic { nrev > 0 && st[nrev] == FAILED && retries < RETRIES -> retries++; gave_up = gave_up & (255 - (1 << nrev)); raise(nrev) }
  od }

active proctype Gateway() { byte q;
  do
  :: atomic { tomb > deleted && gate && !seeding ->
       deleted = tomb;
#ifdef MUTANT_DELETE_RETIRES_NEWER
       if :: ready > 0 -> ready = 0
#else
       if :: ready < tomb -> ready = 0
#endif
          :: else fi }
  :: atomic { tomb > delete_acked && deleted >= tomb -> delete_acked = tomb }
  :: atomic { lost_i -> lost_i = 0; raise_era(); redrive = 2; rebuilding = 1 }
  :: atomic { lost_e -> lost_e = 0; raise_era(); if :: redrive == 0 -> redrive = 1 :: else fi }
#ifdef MUTANT_ERA_FOR_RECONCILER
  :: atomic { lost_r -> lost_r = 0; raise_era() }
#else
  :: atomic { lost_r -> lost_r = 0 }                                                            /* seeded, no era */
#endif
  :: atomic { seeding && !lost_i -> seeding = 0; gate = 1; i_era = era; q = 1;
#ifndef MUTANT_NO_SEEDING
       if :: deleted < s_tomb -> deleted = s_tomb; if :: ready < s_tomb -> ready = 0 :: else fi :: else fi;
       do :: q <= MAXREV -> if :: revoked[q] < s_failed[q] -> revoked[q] = s_failed[q] :: else fi; old[q] = 0; s_failed[q] = 0; q++ :: else -> break od;
#endif
       s_tomb = 0; q = 0 }
  :: atomic { redrive > 0 && !seeding && !lost_i && !lost_e -> q = 1;
       do :: q <= nrev ->
             if :: st[q] == PENDING || (st[q] == READY && redrive == 2) -> raise(q)
#ifdef MUTANT_REDRIVE_FAILED
                :: st[q] == FAILED -> raise(q)
#endif
                :: else fi; q++
          :: else -> break od; q = 0; redrive = 0 }
  :: atomic { rebuilding && redrive == 0 && !seeding && !lost_i && st[1] != PENDING && st[TWO] != PENDING && st[MAXREV] != PENDING -> rebuilding = 0 }
  od }

active proctype Wipes() { byte q;
  do
  :: atomic { wi < WIPE_I -> wi++; lost_i = 1; ready = 0; i_ep = 0; deleted = 0; i_era = 0; q = 1;
#ifndef MUTANT_NO_GATE
       gate = 0;
#endif
#ifdef PARTS
       do :: q <= MAXREV -> pa[q] = 0; pb[q] = 0; q++ :: else -> break od; q = 1;
#endif
       do :: q <= MAXREV -> revoked[q] = 0; event[q] = 0; q++ :: else -> q = 0; break od }
  :: atomic { wr < WIPE_R -> wr++; lost_r = 1; q = 1;
       do :: q <= MAXREV -> know[q] = 0; decided[q] = 0; revoking[q] = 0; answer[q] = 0; ask[q] = 0; give_up[q] = 0; q++ :: else -> q = 0; break od }
  :: atomic { we < WIPE_E -> we++; lost_e = 1; q = 1;
       do :: q <= MAXREV -> rows[q] = 0; old[q] = 0; held[q] = 0; q++ :: else -> q = 0; break od }
  od }

#define MISSING(r)  (st[r] == READY && ready < r && deleted < r)
#define ORPHAN(r)   (st[r] == PENDING && !IN(rows[r] | old[r] | held[r], ep[r]) && ready < r && deleted < r)
active proctype Monitor() { /* enabled only where something is wrong, or at the very end */
  end: do
  :: atomic { gate && !rebuilding && (MISSING(1) || MISSING(TWO) || MISSING(MAXREV)) -> assert(false) }              /* gate: 'complete' while a READY is missing */
  :: atomic { redrive == 0 && !lost_e && !lost_i && (ORPHAN(1) || ORPHAN(TWO) || ORPHAN(MAXREV)) -> assert(false) }  /* custody (I19) */
  :: atomic { ready > 0 && st[ready] == FAILED -> assert(false) }                                                  /* once (I8) */
  :: atomic { ready > 0 && ready < delete_acked -> assert(false) }                                                 /* delete is final (I11) */
  :: atomic { timeout -> assert(st[1] != PENDING && st[TWO] != PENDING && st[MAXREV] != PENDING);                    /* terminal (I2) */
       assert(delete_acked == tomb && !rebuilding && gate); break }
  od }

init { byte r, e; atomic { r = 1;
  do :: r <= MAXREV -> run Reconciler(r); e = 1; do :: e <= MAXE -> run Row(r, e); e++ :: else -> break od; r++ :: else -> break od; r = 0; e = 0 } }
