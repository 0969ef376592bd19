//! All tests of the program as a user runs it, and the shape of the house, as one program: each of its own would link everything again.

mod adversary;
mod arms;
mod as_they_come;
mod attacks;
mod bad_specs;
mod bad_stores;
mod chat_models;
mod controls;
mod docs;
mod every_attack;
mod exports;
mod fine_tuning_api;
mod house;
mod interruption;
mod looks;
mod own_rows;
mod pages;
mod pipeline;
mod rescore;
mod sequential;
mod smollm2;
mod sources;
mod spec_help;
mod tiny_chat;
mod tune;
mod watch;
