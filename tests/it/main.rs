//! One binary for everything that is tested from outside the rooms: the API, the command line, components that run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod admission;
mod api;
mod apply;
mod bad_input;
mod bad_pods;
mod canary;
mod command_line;
mod controllers;
mod crash;
mod custom_resources;
mod fail_static;
mod full_disk;
mod guests;
mod hard_wishes;
mod helm;
mod identities;
mod images;
mod interfaces;
mod jobs;
mod kinds;
mod kubectl;
mod languages;
mod lifecycle;
mod limits;
mod microservices;
mod no_failed_request;
mod pods;
mod process;
mod python;
mod quotas;
mod registry;
mod roles;
mod rollout;
mod routes;
mod scale_to_zero;
mod scheduling;
mod sockets;
mod streaming;
mod support;
mod toolbox;
mod verbs;
mod volumes;
mod watching;
mod workload_kinds;
