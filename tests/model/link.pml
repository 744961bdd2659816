/* One link A -> B, PROTOCOLS.md R1..R5, R8, RESET. Channels lose, duplicate, reorder and delay; A may crash, be rolled back or wiped, B wiped.
   Configurations: -DROLLBACKS=n -DWIPES_A=n -DWIPES_B=n -DCRASHES=n -DROWS=n (rows that A commits before a RESET). One fault kind at a time is checked, and pairs.
   A crash of B is a loss of messages: all that B keeps is durable, one batch is one atomic step (the mutants that break this have their own crash).
   boot is unique per start (n); first_of[n] and line_of[n] stand for the list `starts` that a HELLO carries. Ghosts: settled, base, pend. */
#ifndef ROLLBACKS
#define ROLLBACKS 0
#endif
#ifndef WIPES_A
#define WIPES_A 0
#endif
#ifndef WIPES_B
#define WIPES_B 0
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef ROWS
#define ROWS 3
#endif
#define W 2 /* turn is one bit */
#define MAXSTART (2 + CRASHES + ROLLBACKS + WIPES_A)
#define MAXROW   (ROWS + 3)
#define IN(m, i) (((m) >> (i)) & 1)
#ifdef MUTANT_ROWS_BEFORE_ANSWER
#define MET true
#else
#define MET met
#endif
#define ROOM(c)  (len(c) < 2)

/* a sender puts a message in place of the last one, or loses it; a receiver may leave it there (duplication, delay). Rows: two places, any order. */
#define PUT3(ch, x, y, z)       if :: len(ch) == 0 -> ch!x, y, z :: len(ch) > 0 -> ch?_, _, _; ch!x, y, z :: len(ch) > 0 && !quiet fi
#define PUT5(ch, x, y, z, v, w) if :: len(ch) == 0 -> ch!x, y, z, v, w :: len(ch) > 0 -> ch?_, _, _, _, _; ch!x, y, z, v, w :: len(ch) > 0 && !quiet fi
chan data  = [2] of { byte, byte, byte };             /* seq, row, A.boot */
chan ack   = [1] of { byte, byte, byte };             /* cursor, A.boot echoed, B.store_id */
chan hello = [1] of { byte, byte, byte, byte, byte }; /* A.boot, acked, reset era, start, B.store_id that A adopted */
chan answ  = [1] of { byte, byte, byte, byte, byte }; /* cursor, acked echoed, greatest boot, reset era, B.store_id */

/* A, durable */
byte nxt = 1; byte acked_d = 0; byte out[MAXROW + 2]; byte line = 2; byte a_bst = 0; byte a_reset = 0; byte a_start = 0; byte a_store = 1;
/* A, volatile */
byte boot = 1; byte acked = 0; bit turn = 0; bit met = 0; /* met: B answered a HELLO of this start and this RESET */
/* B, durable */
byte b_store = 1; byte cursor = 0; byte gboot = 0; byte b_reset = 0; byte settled = 0;
/* starts of A */
byte n_start = 1; byte first_of[MAXSTART + 1]; byte line_of[MAXSTART + 1]; byte store_of[MAXSTART + 1];
/* a copy of A's volume */
bit copied = 0; byte s_next; byte s_acked; byte s_line; byte s_bst; byte s_reset; byte s_start; byte s_base; byte s_boot;
/* gateway */
byte era = 0; bool alarm = false;
/* ghosts and fault budgets */
byte row = 0; byte base = 0; bool pend = false; bool quiet = false;
byte crashes = 0; byte rollbacks = 0; byte wipes_a = 0; byte wipes_b = 0;

inline raise() { assert(pend); alarm = true }  /* just: no alarm without a lost or rolled-back volume */

inline start_a() {
  acked = acked_d; turn = 0; met = 0;
#ifdef MUTANT_BOOT_FROM_VOLUME
  boot = boot + 1;
#else
  n_start++; boot = n_start;
#endif
  line = line | (1 << boot); first_of[boot] = nxt; line_of[boot] = line; store_of[boot] = a_store;
}
inline commit_row() { row++; out[nxt] = row; nxt++ }
inline got_cursor(c) { if :: c > acked -> acked = c :: else fi;
  i = base + 1; do :: i <= acked -> assert((pend && wipes_b > 0) || alarm || IN(settled, out[i])); i++ :: else -> i = 0; break od } /* no loss: never trim what B has not settled (a wiped B: until the alarm) */

active proctype A_commit() { /* R1: may happen before any HELLO of this start (deferred work, accepted documents) */
  do :: atomic { row < ROWS -> commit_row() }
     :: atomic { acked > acked_d -> acked_d = acked }  /* R5: lazily, one batch */
     :: atomic { row >= ROWS && quiet && acked == acked_d && !pend && !alarm -> break }
  od }

active proctype A_send() { byte k; /* R2: resending and going back are one: any row of the window, at any time */
  do :: atomic { true -> k = acked + 1 + turn;
       if
       :: MET && k < nxt && ROOM(data) -> data!k, out[k], boot; turn = 1 - turn
       :: MET && k < nxt && !ROOM(data) -> skip                          /* EAGAIN: not sent */
       :: else -> turn = 0
       fi; k = 0 }
  od }

active proctype A_hello() {
  do :: atomic { true ->
#ifdef MUTANT_RESET_TWICE
       PUT5(hello, boot, acked, a_reset, (met -> 0 : a_start), a_bst)
#else
       PUT5(hello, boot, acked, a_reset, a_start, a_bst)
#endif
     }
  od }

active proctype A_ack() { byte c, g, s, i;
  do
  :: atomic { len(ack) > 0 -> ack?<c, g, s>; if :: ack?_, _, _ :: !quiet fi;
       if
#ifdef MUTANT_NO_ECHO
       :: s == a_bst && c < nxt
#else
       :: g == boot && s == a_bst
#endif
          -> got_cursor(c)
       :: else fi; c = 0; g = 0; s = 0 }
  od }

active proctype A_answer() { byte c, e, g, h, s, i; /* A judges, since A knows its own present */
  do
  :: atomic { len(answ) > 0 -> answ?<c, h, g, e, s>; if :: answ?_, _, _, _, _ :: !quiet fi;
       if
       :: s < a_bst -> skip                                             /* replaced: refused for ever */
       :: s > a_bst && acked > 0 -> raise()
       :: else -> a_bst = s;                                            /* acked = 0: adopt */
          if
          :: e > a_reset -> raise()                                     /* A rolled back behind a RESET */
          :: e < a_reset -> skip
          :: else ->
             if
             :: g == 0 -> skip
             :: g != boot && !IN(line, g) -> raise()                    /* B knows a start that A does not */
             :: g != boot && IN(line, g) ->                              /* late; or A rolled back within start g, and B has rows of the lost part */
#ifndef MUTANT_NO_SELF_JUDGEMENT
                i = g + 1; do :: !IN(line, i) -> i++ :: else -> break od; /* the start that followed g */
                if :: c >= first_of[i] -> raise() :: else fi
#else
                skip
#endif
#ifdef MUTANT_LATE_ANSWER
             :: g == boot && c < acked -> raise()
#else
             :: g == boot && c < h -> raise()
#endif
             :: g == boot && c >= nxt -> raise()
             :: else -> met = 1; got_cursor(c)
             fi
          fi
       fi; c = 0; e = 0; g = 0; h = 0; s = 0 }
  od }

active proctype B_rows() { byte k, r, n;
  do :: atomic { data?k, r, n ->
       if
       :: n == gboot && k == cursor + 1 ->
#ifdef MUTANT_ACK_BEFORE_COMMIT
          PUT3(ack, k, n, b_store);
          if :: !quiet -> goto lost :: true fi;                         /* killed between ack and commit */
#endif
          assert(!IN(settled, r)); settled = settled | (1 << r);
#ifdef MUTANT_CURSOR_APART
          if :: !quiet -> goto lost :: true fi;                         /* killed between the two batches */
#endif
          cursor = k
       :: else
       fi;
       if :: n == gboot -> PUT3(ack, cursor, gboot, b_store) :: else fi;
lost:  k = 0; r = 0; n = 0 }
  od }

active proctype B_hello() { byte n, h, e, st, s, i;
  do :: atomic { len(hello) > 0 -> hello?<n, h, e, st, s>; if :: hello?_, _, _, _, _ :: !quiet fi;
       if
       :: e > b_reset && s == b_store -> b_reset = e; gboot = n;         /* RESET, once per era */
#ifndef MUTANT_RESET_KEEPS_CURSOR
          cursor = st - 1
#endif
#ifdef MUTANT_RESET_TWICE
       :: e == b_reset && e > 0 && st > 0 && s == b_store -> gboot = n; cursor = st - 1
#endif
       :: e == b_reset && gboot == 0 -> gboot = n
       :: e == b_reset && gboot != 0 && n != gboot && store_of[n] > store_of[gboot] && cursor == 0 -> gboot = n
       :: e == b_reset && gboot != 0 && n != gboot && store_of[n] == store_of[gboot] && IN(line_of[n], gboot) ->
#ifdef MUTANT_FIRST_OF_LAST_START
          i = n;
#else
          i = gboot + 1; do :: !IN(line_of[n], i) -> i++ :: else -> break od; /* the start that followed gboot */
#endif
#ifdef MUTANT_NO_FIRST
          gboot = n
#else
          if :: cursor >= first_of[i] -> skip :: else -> gboot = n fi     /* A rolled back: B goes on with what it knows, and A judges by the answer */
#endif
       :: else                                                           /* late, or A rolled back or wiped: A judges by the answer */
       fi;
       PUT5(answ, cursor, h, gboot, b_reset, b_store);
       n = 0; h = 0; e = 0; st = 0; s = 0; i = 0 }
  od }

active proctype Gateway() { /* era+1, RESET, re-drive of one row */
  do :: atomic { alarm && era < 3 -> era++; alarm = false; pend = false;
       a_reset = era; a_start = nxt; base = nxt - 1; acked = nxt - 1; acked_d = acked; a_bst = b_store;
       met = 0;
       if :: row < MAXROW -> commit_row() :: else fi }
  od }

active proctype Faults() { byte a, b, c;
  first_of[1] = 1; line_of[1] = 2; store_of[1] = 1;
  do
  :: atomic { (len(data) > 0)  -> data?a, b, c }                                          /* loss */
  :: atomic { (len(data) > 0)  && ROOM(data)  -> data?<a, b, c>; data!a, b, c }           /* duplication */
  :: atomic { (len(data) == 2)  -> data?a, b, c; data!a, b, c }                               /* reordering */
  :: atomic { crashes < CRASHES -> crashes++;
#ifdef MUTANT_SEQ_REUSE
       if :: nxt > acked_d + 1 && nxt > base + 1 -> nxt-- :: true fi;                /* the number was used before its commit was synced */
#endif
       start_a() }
#if ROLLBACKS > 0
  :: atomic { !copied && rollbacks == 0 -> copied = 1; s_next = nxt; s_acked = acked_d; s_line = line; s_bst = a_bst; s_reset = a_reset; s_start = a_start; s_base = base; s_boot = boot }
  :: atomic { copied && rollbacks < ROLLBACKS -> rollbacks++; pend = true; copied = 0;
       nxt = s_next; acked_d = s_acked; line = s_line; a_bst = s_bst; a_reset = s_reset; a_start = s_start; base = s_base;
#ifdef MUTANT_BOOT_FROM_VOLUME
       boot = s_boot;
#endif
       s_next = 0; s_acked = 0; s_line = 0; s_bst = 0; s_reset = 0; s_start = 0; s_base = 0; s_boot = 0;
       start_a() }
#endif
#if WIPES_A > 0
  :: atomic { wipes_a < WIPES_A -> wipes_a++; pend = true; nxt = 1; acked_d = 0; line = 0; a_bst = 0; a_reset = 0; a_start = 0; base = 0; a_store++; start_a() }
#endif
#if WIPES_B > 0
  :: atomic { wipes_b < WIPES_B -> wipes_b++; pend = true; b_store++; cursor = 0; gboot = 0; b_reset = 0; settled = 0 }
#endif
  :: atomic { true -> a = 0; b = 0; c = 0; quiet = true; break }
  od }

#define done (row >= ROWS && acked == nxt - 1 && !alarm && cursor == acked)
ltl dense { [] (acked_d <= acked && acked < nxt && (pend || alarm || a_reset != b_reset || acked <= cursor)) }
ltl live  { (<> quiet) -> <> [] done }
